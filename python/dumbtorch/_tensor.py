"""class Tensor: the methods that are not rows of the op table."""

from __future__ import annotations

import weakref
from typing import Any

from dumbtorch import _C, _device, _dtypes, _interop, _legacy, _pinned, _printing, _size, _storage, autograd, ops
from dumbtorch._handles import RemovableHandle, add_hook
from dumbtorch.autograd import graph
from dumbtorch.autograd.graph import Extra
from dumbtorch.memory import OutOfMemoryError
from dumbtorch.storage import CLASSES, TypedStorage, UntypedStorage, storage_of


class Tensor(_C.TensorBase):
    """A multi-dimensional array with automatic differentiation.

    Made by the factory functions (``tensor``, ``zeros``, ``rand``, ...). Operations are functions of the package,
    methods and operators alike; docs/ops.md lists them. Reference: ``torch.Tensor``.

    >>> Tensor([1, 2])
    tensor([1., 2.])
    """

    __module__ = "dumbtorch"

    # What few tensors have stands in the instance's dictionary, which is made when first written.
    _leaf_hooks: Extra | None = None
    _accumulator: Any = None
    _retains = False
    # the level of the functional transform that this wraps another tensor for, and the one that it was made in
    _level: Any = None
    _birth: Any = None
    __array_priority__ = 1000

    def __new__(cls, *args: Any, device: Any = None) -> Any:
        if len(args) == 1 and isinstance(args[0], _C.TensorBase):
            return args[0].detach()
        return _legacy.construct(_dtypes.get_default_dtype(), args, device)

    @staticmethod
    def _make_subclass(cls: Any, data: Any, requires_grad: bool = False) -> Any:
        """An object of a Tensor subclass on the memory of ``data``."""
        made = data._as_class(cls)
        if requires_grad:
            made.requires_grad = True
        return made

    # ------------------------------------------------------------ autograd

    @property
    def grad(self) -> Any:
        """The gradient accumulated by backward, or None."""
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is None:
            self._grad = None
            return
        if not isinstance(value, _C.TensorBase):
            raise TypeError(
                f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
            )
        if value is self:
            raise RuntimeError("can't assign Variable as its own grad")
        if value.shape != self.shape:
            raise RuntimeError(
                f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
                f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
            )
        if value.dtype is not self.dtype:
            raise RuntimeError(
                f"attempting to assign a gradient with dtype '{value.dtype}' to a tensor with dtype '{self.dtype}'. "
                "The gradient must match the tensor's dtype"
            )
        if value.device != self.device:
            raise RuntimeError(
                f"attempting to assign a gradient on device '{value.device}' to a tensor on device '{self.device}'. "
                "Please ensure that the gradient and the tensor are on the same device"
            )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Computes the gradients of this tensor and adds them into the leaves' ``.grad``.

        ``gradient`` is needed unless the tensor has one element. See ``autograd.backward``.
        """
        autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def detach(self) -> Any:
        """The same memory outside of the graph. Writes show in both. Reference: ``torch.Tensor.detach``."""
        return self._alias()

    def detach_(self) -> Any:
        """Takes this tensor out of its graph: it becomes a leaf. Raises RuntimeError for a view."""
        if self._base is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for "
                "training, and gradient_as_bucket_view is set as True, gradients are views of DDP buckets"
            )
        self._attach(None, 0)
        self.requires_grad = False
        return self

    @property
    def data(self) -> Any:
        """The same memory outside of the graph, which does not mind writes through it.

        Assigning replaces the memory that this tensor shows. Reference: ``torch.Tensor.data``.
        """
        return self._unwatched()

    @data.setter
    def data(self, value: Any) -> None:
        if not isinstance(value, _C.TensorBase):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        self._set_data(value)

    def requires_grad_(self, requires_grad: Any = True) -> Any:
        """Sets ``requires_grad`` and returns the tensor. Raises RuntimeError for integers."""
        if not isinstance(requires_grad, bool):
            kind = type(requires_grad).__name__
            raise TypeError(f"requires_grad_(): argument 'requires_grad' (position 1) must be bool, not {kind}")
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Asks backward to keep the gradient of this non-leaf in ``.grad``."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        node = self.grad_fn
        if node is not None and not self._retains:
            graph.extra_of(node).retain[self.output_nr] = weakref.ref(self)
            self._retains = True

    @property
    def retains_grad(self) -> bool:
        """Whether backward keeps the gradient of this non-leaf."""
        return self._retains and not self.is_leaf

    def _extra(self) -> Extra:
        node = self.grad_fn
        return graph.extra_of(graph.accumulator(self) if node is None else node)

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Calls ``hook(grad)`` when the gradient of this tensor is computed; a tensor that it returns replaces it.

        Raises RuntimeError unless the tensor requires a gradient. Reference: ``torch.Tensor.register_hook``.
        """
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not callable(hook):
            raise TypeError(f"register_hook: a hook must be callable, got {type(hook).__name__}")
        hooks = self._extra().tensor
        handle = RemovableHandle(hooks)
        hooks[handle.id] = (self.output_nr, hook)
        return handle

    def register_post_accumulate_grad_hook(self, hook: Any) -> RemovableHandle:
        """Calls ``hook(tensor)`` after the gradient of this leaf was accumulated."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self.is_leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return add_hook(self._extra().after, hook)

    # ------------------------------------------------------------ shape and kind

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[ops.shape.wrap_dim(dim, self.ndim)]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._numel

    nelement = numel

    def stride(self, dim: int | None = None) -> Any:
        """The strides in elements, or the stride of one dimension."""
        return self._strides if dim is None else self._strides[ops.shape.wrap_dim(dim, self.ndim)]

    def storage_offset(self) -> int:
        """The place of the first element in the storage, in elements."""
        return self._offset

    def element_size(self) -> int:
        """The bytes of one element."""
        return self.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self._numel * self.itemsize

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return bool(self.dtype.is_floating_point)

    def is_complex(self) -> bool:
        """Whether the dtype is a complex one."""
        return bool(self.dtype.is_complex)

    def is_signed(self) -> bool:
        """Whether the dtype has negative numbers."""
        return bool(self.dtype.is_signed)

    def is_inference(self) -> bool:
        """Whether the tensor was made in inference mode."""
        return bool(self._flags & 4)

    @property
    def is_cpu(self) -> bool:
        """Whether the tensor lies in the CPU's memory."""
        return bool(self.device.type == "cpu")

    @property
    def is_cuda(self) -> bool:
        """Whether the tensor lies on a cuda device."""
        return bool(self.device.type == "cuda")

    def get_device(self) -> int:
        """The index of the tensor's device, -1 for the CPU."""
        return -1 if self.is_cpu else (self.device.index or 0)

    def cpu(self, memory_format: Any = None) -> Any:
        """The tensor in the CPU's memory."""
        return self.to("cpu", memory_format=memory_format)

    def cuda(self, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Any:
        """The tensor on a cuda device. Raises RuntimeError where there is none."""
        place = _device.device("cuda", device) if isinstance(device, int) else device or "cuda"
        return self.to(place, non_blocking=non_blocking, memory_format=memory_format)

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of the tensor's type as a string, or the tensor in another dtype, given as such or by that name."""
        if dtype is None:
            place = "torch." if self.is_cpu else f"torch.{self.device.type}."
            return f"{place}{_dtypes.TYPE_NAMES[self.dtype]}Tensor"
        if isinstance(dtype, (str, type)):
            name = dtype if isinstance(dtype, str) else dtype.__name__
            found = _legacy.TYPES.get(name.removeprefix("torch."))
            if found is None:
                raise ValueError(f"invalid type: {name!r}")
            dtype = found.dtype
        if not isinstance(dtype, _dtypes.dtype):
            raise TypeError("dtype must be a type, str, or dtype object")
        return self.to(dtype)

    layout = _dtypes.strided
    is_sparse = is_sparse_csr = is_quantized = is_meta = is_mkldnn = is_nested = is_vulkan = False
    is_xla = is_xpu = is_ipu = is_maia = is_mtia = False

    @property
    def is_mps(self) -> bool:
        """Whether the tensor lies on an Apple device."""
        return bool(self.device.type == "mps")

    def is_pinned(self, device: Any = None) -> bool:
        """Whether the memory is page-locked, for copies to a device. Reference: ``torch.Tensor.is_pinned``."""
        if device is not None:
            _pinned.warn_device("is_pinned")
        return _pinned.is_pinned(self._storage_id)

    def pin_memory(self, device: Any = None) -> Any:
        """A copy in page-locked memory, from which ``to(device, non_blocking=True)`` need not wait; itself if it is.

        Raises RuntimeError without an accelerator and for tensors on one. Reference: ``torch.Tensor.pin_memory``.
        """
        if device is not None:
            _pinned.warn_device("pin_memory")
        return _pinned.pinned(self)

    def record_stream(self, stream: Any) -> None:
        """Notes that another stream works on the memory: it is not used anew before that work is done.

        Reference: ``torch.Tensor.record_stream``.
        """
        if not self.is_cuda:
            raise NotImplementedError(f"record_stream: a tensor on {self.device} is on no stream")
        stream._record(self.untyped_storage().data_ptr())

    def is_shared(self) -> bool:
        """Whether other processes can see the memory. Reference: ``torch.Tensor.is_shared``."""
        return storage_of(self).is_shared()

    def share_memory_(self) -> Any:
        """Moves the memory to where other processes can see it: see `UntypedStorage.share_memory_`.

        Tensors on the same memory move along. Reference: ``torch.Tensor.share_memory_``.
        """
        storage_of(self).share_memory_()
        return self

    def is_distributed(self) -> bool:
        """Whether the elements lie on several machines: never."""
        return False

    def is_same_size(self, other: Any) -> bool:
        """Whether another tensor has the same shape."""
        return bool(self.shape == other.shape)

    def untyped_storage(self) -> UntypedStorage:
        """The memory behind the tensor, as bytes; views of one memory have one storage."""
        return storage_of(self)

    def storage(self) -> TypedStorage:
        """The memory behind the tensor as elements of its dtype; warns (once): `untyped_storage` takes its place."""
        return TypedStorage(wrap_storage=storage_of(self), dtype=self.dtype)

    def storage_type(self) -> Any:
        """The class of ``storage()``."""
        return CLASSES[f"{_dtypes.TYPE_NAMES[self.dtype]}Storage"]

    def const_data_ptr(self) -> int:
        """The address of the first element, for reading."""
        return int(self.data_ptr())

    def as_subclass(self, cls: Any) -> Any:
        """The same memory and history as an object of a Tensor subclass. Reference: ``torch.Tensor.as_subclass``."""
        if not issubclass(cls, Tensor):
            raise TypeError(f"as_subclass(): expected a subclass of Tensor, got {cls.__name__}")
        made = self.view(self.shape)
        made.__class__ = cls
        return made

    def new(
        self, *args: Any, size: Any = None, data: Any = None, other: Any = None, storage: Any = None, device: Any = None
    ) -> Any:
        """What ``Tensor(...)`` makes of the arguments, in this dtype. Reference: ``torch.Tensor.new``."""
        named = [
            given for given in (None if size is None else _size.Size(size), data, other, storage) if given is not None
        ]
        if named:
            if len(named) > 1 or args:
                raise TypeError("new() takes sizes, or one of size, data, other and storage")
            args = (named[0],)
        return _legacy.construct(self.dtype, args, self.device if device is None else device)

    def _each(self, name: str, others: tuple[Any, ...], function: Any) -> Any:
        if self.requires_grad:
            raise RuntimeError(
                f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
            )
        if not self.is_cpu:
            raise TypeError(f"{name} is only implemented on CPU tensors")
        for other in others:
            if not isinstance(other, _C.TensorBase) or other.dtype is not self.dtype:
                raise TypeError(f"{name}(): expected a tensor of {self.dtype!r}, got {other!r}")
        columns = [t.expand(self.shape).flatten().tolist() for t in (self, *others)]
        values = [function(*row) for row in zip(*columns, strict=True)]
        return self.copy_(ops.tensor(values, dtype=self.dtype).reshape(self.shape))

    def apply_(self, callable: Any) -> Any:
        """Writes what a Python function makes of each element; slow. Reference: ``torch.Tensor.apply_``."""
        return self._each("apply_", (), callable)

    def map_(self, tensor: Any, callable: Any) -> Any:
        """Writes what a Python function makes of each element and another tensor's; slow."""
        return self._each("map_", (tensor,), callable)

    def map2_(self, x: Any, y: Any, callable: Any) -> Any:
        """Writes what a Python function makes of each element and two other tensors'; slow."""
        return self._each("map2_", (x, y), callable)

    # ------------------------------------------------------------ Python values

    def __bool__(self) -> bool:
        if self._numel != 1:
            many = "more than one value" if self._numel else "no values"
            raise RuntimeError(f"Boolean value of Tensor with {many} is ambiguous")
        return bool(self.item())

    def _number(self) -> Any:
        if self._numel != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.item()

    def __float__(self) -> float:
        value = self._number()
        if isinstance(value, complex):
            if value.imag != 0:
                raise RuntimeError("value cannot be converted to type double without overflow")
            value = value.real
        return float(value)

    def __int__(self) -> int:
        value = self._number()
        if isinstance(value, complex):
            if value.imag != 0:
                raise RuntimeError("value cannot be converted to type int64_t without overflow")
            value = value.real
        return int(value)

    def __complex__(self) -> complex:
        return complex(self._number())

    def __index__(self) -> int:
        kind = self.dtype
        if self._numel != 1 or kind.is_floating_point or kind.is_complex:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (_C.TensorBase, int, float, complex)):
            return bool((self == element).any())
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")

    def __format__(self, spec: str) -> str:
        if self.ndim == 0 and type(self) is Tensor:
            return str(self.item().__format__(spec))
        return object.__format__(self, spec)

    def _equals_array(self, array: Any) -> Any:
        """``self == array`` with a NumPy array."""
        return ops.eq(self, ops.as_tensor(array))

    def __pos__(self) -> Any:
        if self.dtype is _dtypes.bool:
            raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
        return self

    def __reversed__(self) -> Any:
        return self.flip(0) if self.ndim else self

    def __imatmul__(self, other: Any) -> Any:
        return self.copy_(self @ other)

    # ------------------------------------------------------------ NumPy, copying, pickling

    numpy = _interop.numpy_of
    __array__ = _interop.array_of
    __array_wrap__ = _interop.wrap_array
    __array_interface__ = property(_interop.array_interface)
    __cuda_array_interface__ = property(_interop.cuda_array_interface)
    __dlpack__ = _interop.to_dlpack
    __dlpack_device__ = _interop.dlpack_device

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        return _printing.tensor_repr(self, tensor_contents=tensor_contents)

    def __copy__(self) -> Any:
        made = self._as_class(type(self))
        if self.requires_grad:
            made.requires_grad = True
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _storage.deepcopied(self, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _storage.reduced(self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__()})


for _name, _method in ops.METHODS.items():
    setattr(Tensor, _name, _method)
_C.set_types(Tensor, _size.Size, _device.device, OutOfMemoryError)
_C.set_python_hooks(ops.getitem.getitem, ops.getitem.setitem, autograd.views.regenerate)
