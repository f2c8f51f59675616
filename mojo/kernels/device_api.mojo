"""How a family hands work to an accelerator: it names an entry of the accelerator's extension and passes it a struct."""

from std.ffi import external_call
from std.memory import Pointer
from tensor.call import Call
from tensor.memory import c_string, function_at
from tensor.object import TPtr, as_tensor
from tensor.storage import DeviceFind, check_status, device_table
from kernels.walk import Span3


def device_entry(device: Int, name: String) raises -> Int:
    """The address of the C function that the accelerator's extension registered under a name, such as "convolve"."""
    var text = c_string(name)
    var address = function_at[DeviceFind](device_table(device)[].find)(text)
    external_call["free", NoneType](text)
    if address == 0:
        raise Error(t"RuntimeError|device {device & 255} has no kernels for '{name}'; compute it on the CPU: .cpu()")
    return address


def different_devices(a: Int, b: Int) -> Error:
    return Error(
        t"RuntimeError|Expected all tensors to be on the same device, but found at least two devices, {_name(a)} and"
        t" {_name(b)}!"
    )


def _name(device: Int) -> String:
    return "cpu" if device == 0 else String(t"cuda:{device & 255}")


def check_devices(call: Call, device: Int) raises:
    """Raises unless all of a call's tensors are on a device."""
    for i in range(call.op[].num_params):
        if call.is_tensor(i) and as_tensor(call.obj(i))[].device() != device:
            raise different_devices(as_tensor(call.obj(i))[].device(), device)


def launch_walk(call: Call, a: TPtr, mut span: Span3, mode: Int) raises:
    """Hands a walk over `a` (kernels/walk.mojo) to the accelerator that holds it."""
    comptime LaunchFn = def(Int, Pointer[Span3, MutAnyOrigin], Int, Int) thin abi("C") -> Int
    var device = a[].device()
    var f = function_at[LaunchFn](device_table(device)[].walk)
    check_status(f(device & 255, Pointer(to=span).as_unsafe_any_origin(), mode, a[].code()), device, call.name())
