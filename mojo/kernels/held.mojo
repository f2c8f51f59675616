"""Tensors that a call makes for itself."""

from tensor.object import TPtr, as_tensor
from tensor.py import Obj, decref


struct Held:
    """Tensors of one call, let go together."""

    var list: List[Obj]

    def __init__(out self):
        self.list = List[Obj]()

    def keep(mut self, o: Obj) -> TPtr:
        self.list.append(o)
        return as_tensor(o)

    def release(mut self):
        for o in self.list:
            decref(o)
        self.list.clear()
