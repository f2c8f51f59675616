"""Errors at the border: a Mojo error's text starts with the Python exception's name and a bar.

`raise Error("ValueError|cat(): expected a non-empty list of tensors")` reaches Python as that ValueError. Without a
bar it is a RuntimeError. "P|" says that the Python error is set already.
"""

from std.ffi import c_int, external_call
from .memory import c_string
from .py import Obj, error_occurred, py_str, decref
from .runtime import runtime


@no_inline
def set_python_error(e: Error):
    """Sets the Python exception that a Mojo error names."""
    var text = String(e)
    var rt = runtime()
    var kind = rt[].runtime_error
    var bar = text.find("|")
    if bar > 0 and bar < 24:
        var name = String(text[byte=0:bar])
        if name == "P":
            if not error_occurred():
                _set(rt[].runtime_error, String("the interpreter reported an error without setting one"))
            return
        var known = True
        if name == "TypeError":
            kind = rt[].type_error
        elif name == "ValueError":
            kind = rt[].value_error
        elif name == "IndexError":
            kind = rt[].index_error
        elif name == "RuntimeError":
            kind = rt[].runtime_error
        elif name == "AttributeError":
            kind = rt[].attribute_error
        elif name == "BufferError":
            kind = rt[].buffer_error
        elif name == "NotImplementedError":
            kind = rt[].not_implemented_error
        elif name == "OutOfMemoryError":
            kind = rt[].oom_error
        else:
            known = False
        if known:
            var message = String(text[byte = bar + 1 :])
            text = message^
    _set(kind, text)


def _set(kind: Obj, text: String):
    var s = py_str(text)
    if s != 0:
        external_call["PyErr_SetObject", NoneType](kind, s)
        decref(s)


def warn(text: String) raises:
    """Issues a UserWarning; raises where the filters make an error of it."""
    var builtins = external_call["PyEval_GetBuiltins", Int]()
    var category = external_call["PyDict_GetItemString", Int](builtins, Int(StaticString("UserWarning").unsafe_ptr()))
    var message = text + "\0"
    if external_call["PyErr_WarnEx", c_int](category, message.unsafe_ptr(), Int(1)) != 0:
        raise python_error()


@always_inline
def python_error() -> Error:
    """The error to raise in Mojo when a CPython call failed and set its own."""
    return Error("P|")
