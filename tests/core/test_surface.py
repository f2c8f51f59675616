"""What is around a tensor's operations: attributes, conversions, NumPy's functions, old constructors, `testing`.

Each line is evaluated with ``m`` as PyTorch and as dumbtorch: the values must print alike, or the exceptions be of one
type with, in the end, one text.
"""

import copy
import io
import pickle
import sys
import warnings

import numpy as np
import pytest

import dumbtorch

torch = pytest.importorskip("torch")

CASES = """
np.concatenate([m.ones(2),m.zeros(1)])
np.asarray(m.ones(2))
np.asarray(m.ones(2,dtype=m.bool))
np.asarray(m.tensor(2))
np.asarray([m.tensor(2),m.tensor(3)])
np.array([m.ones(2),m.zeros(2)])
np.asarray(m.ones(2,requires_grad=True))
np.add(m.ones(2,requires_grad=True),1)
np.ones(2)+m.ones(2)
np.ones(2)*m.ones(2)
np.float64(2)*m.ones(2)
np.float32(2)*m.ones(2)
np.int64(2)*m.ones(2)
np.int64(2)+m.ones(2,dtype=m.int32)
m.ones(2)*np.float64(2)
m.ones(2,dtype=m.int32)*np.float64(2)
m.ones(2)+np.float32(2)
m.ones(2)+np.int32(2)
m.ones(2)+np.bool_(True)
m.ones(2)**np.float64(2)
m.arange(5)[np.array([1,2])]
m.arange(5)[np.array([True,False,True,False,True])]
m.arange(12).reshape(3,4)[np.int64(1)]
m.arange(12).reshape(3,4)[np.int64(1),np.uint8(0)]
m.arange(12).reshape(3,4)[...,np.int32(-1)]
m.arange(12).reshape(3,4)[np.array(1)]
m.arange(12).reshape(3,4)[np.array([0,2]),np.int64(1)]
np.ones(2)<m.ones(2)
np.float64(1)<m.ones(2)
m.add(m.ones(2),np.float64(1))
m.tensor(np.float64(1))
m.tensor(np.float32(1))
m.tensor(np.int32(1))
m.tensor([np.float32(1),np.float32(2)])
m.tensor([np.float64(1),2])
m.tensor(np.ones((2,3))[:,::2])
m.tensor(np.ones((2,3))[::-1])
m.from_numpy(np.ones((2,3))[::-1])
m.from_numpy(np.arange(3,dtype='>i4'))
m.from_numpy(np.array(['a']))
m.from_numpy(np.array([1,2],dtype=object))
m.from_numpy(np.arange(3).astype('datetime64[s]'))
m.from_numpy([1])
m.from_numpy(np.float64(1))
m.from_numpy(np.ones(3,dtype=np.uint16))
m.from_numpy(np.ones(3,dtype=np.complex64))
m.from_numpy(np.ones(3,dtype=np.longdouble))
m.as_tensor(np.ones(2))
m.as_tensor(np.ones(2),dtype=m.float32)
m.as_tensor(np.float32(3))
m.as_tensor([1,2.])
m.asarray(np.ones(2))
m.asarray(np.ones(2),copy=False)
m.asarray([1,2],copy=False)
m.ones(2).numpy()
m.ones(2,requires_grad=True).numpy()
m.ones(2,requires_grad=True).numpy(force=True)
m.ones(2,dtype=m.bfloat16).numpy()
m.ones(2,dtype=m.complex64).conj().numpy(force=True)
m.ones(2,3).T.numpy().strides
m.ones(2,3).__array__(np.float64)
m.ones(2,3).__array__().dtype
m.ones(2).__array_priority__
m.full((2,),np.float32(2))
m.full((2,),np.int64(2))
m.zeros(np.int64(2))
m.zeros((np.int64(2),np.int32(1)))
m.arange(np.float32(3))
m.ones(2).sum(np.int64(0))
m.ones(2,3).view(np.int64(6))
m.ones(2,3).reshape(np.array(3),2)
m.ones(2,3).permute(np.int64(1),0)
m.ones(3).fill_(np.float32(2))
m.where(m.tensor([True,False]),np.float32(1),0.)
m.clamp(m.ones(2),np.float64(0),np.float64(.5))
isinstance(m.ones(2).numpy(),np.ndarray)
np.shape(m.ones(2,3))
np.ndim(m.ones(2,3))
np.allclose(m.ones(2),1)
np.testing.assert_allclose(m.ones(2),np.ones(2))
np.ones((2,2))@m.ones(2,2)
np.stack([m.ones(2)]*2)
np.where(m.tensor([True,False]),1,2)
np.exp(m.ones(2,dtype=m.float64),out=np.zeros(2))
np.add.at
np.sort(m.tensor([2.,1.]))
np.unique(m.tensor([2.,1.]))
np.array(m.ones(2),dtype=np.int8,copy=None)
np.float64(m.tensor(2.))
np.int64(m.tensor(2))
float(m.tensor([2.]))
float(m.ones(2))
int(m.tensor(2.7))
int(m.tensor(float('nan')))
int(m.tensor(float('inf')))
int(m.ones(2))
complex(m.tensor(2.))
complex(m.tensor(2+3j))
float(m.tensor(2+3j))
int(m.tensor(2+3j))
bool(m.tensor([]))
bool(m.ones(2))
bool(m.tensor([[0.]]))
[1,2,3][m.tensor(1)]
[1,2,3][m.tensor([1])]
[1,2,3][m.tensor(1.)]
[1,2,3][m.tensor([1,2])]
[1,2,3][m.tensor(True)]
hex(m.tensor(3))
'%d' % m.tensor(3)
'%.2f' % m.tensor(3.)
f"{m.tensor(3.14159):.2f}"
f"{m.tensor([3.14159]):.2f}"
f"{m.tensor([1.,2.])}"
f"{m.tensor(3)}"
f"{m.tensor(3):d}"
f"{m.tensor(3.,requires_grad=True):.1f}"
f"{m.tensor(3.,requires_grad=True)}"
f"{m.tensor([3.,1.]):>10}"
f"{m.tensor(3+2j):.1f}"
3 in m.arange(4)
m.tensor(3) in m.arange(4)
5 in m.arange(4)
"a" in m.arange(4)
None in m.arange(4)
len(m.ones(2,3))
len(m.tensor(1))
list(m.arange(2))
list(m.tensor(1))
list(reversed(m.arange(3)))
hash(m.ones(2))==hash(m.ones(2))
m.ones(2).tolist()
m.tensor(1).tolist()
m.ones(0,2).tolist()
m.ones(2,0).tolist()
m.ones(2,dtype=m.bfloat16).tolist()
m.tensor([1+2j]).tolist()
m.tensor([True]).tolist()
m.ones(2).item()
m.ones(0).item()
m.ones(1,1).item()
m.ones(2).type()
m.ones(2).type('torch.DoubleTensor')
m.ones(2).type(m.int32)
m.ones(2).type(m.DoubleTensor)
m.ones(2).type('torch.FooTensor')
m.ones(2).type(3)
m.ones(2).type(int)
m.ones(2).type(float)
m.ones(2).type(bool)
m.ones(2).to(m.float64)
m.ones(2).to('cpu')
m.ones(2).to('cpu',m.float64)
m.ones(2).to(m.ones(1,dtype=m.int8))
m.ones(2).to(dtype=m.int32,copy=True)
m.ones(2).to(m.float64,True)
m.ones(2).to(m.float64,False,True)
m.ones(2).to('cpu',m.float64,False,True)
m.ones(2).to(m.device('cpu'))
m.ones(2).to()
m.ones(2).to(None)
m.ones(2).to(dtype=int)
m.ones(2).to(device='cpu',dtype=m.half)
m.ones(2).cpu()
m.ones(2).double()
m.ones(2).half()
m.ones(2).bfloat16()
m.ones(2).long()
m.ones(2).int()
m.ones(2).short()
m.ones(2).char()
m.ones(2).byte()
m.ones(2).bool()
m.ones(2).cfloat()
m.ones(2).cdouble()
m.ones(2).element_size()
m.ones(2).nbytes
m.ones(2).itemsize
m.ones(2).is_floating_point()
m.is_floating_point(m.ones(2))
m.is_complex(m.ones(2))
m.ones(2).is_signed()
m.is_signed(m.ones(2))
m.is_tensor(m.ones(2))
m.is_tensor(1)
m.is_storage(m.ones(2))
m.is_storage(m.ones(2).untyped_storage())
m.is_nonzero(m.tensor(1))
m.is_nonzero(m.ones(2))
m.is_nonzero(m.ones(0))
m.numel(m.ones(2))
m.ones(2).is_leaf
m.ones(2).layout
m.strided
m.ones(2).is_sparse
m.ones(2).is_quantized
m.ones(2).is_meta
m.ones(2).is_mkldnn
m.ones(2).is_nested
m.ones(2).is_pinned()
m.ones(2).is_contiguous()
m.typename(m.ones(2))
m.typename(m.ones(2,dtype=m.int64))
m.typename(3)
m.typename(m.nn.Parameter(m.ones(2)))
m.get_default_device()
m.Tensor()
m.Tensor([1,2])
m.Tensor(2,3).shape
m.Tensor((1,2))
m.Tensor(m.ones(2))
m.Tensor(m.ones(2,dtype=m.int64))
m.Tensor(np.ones(2,dtype=np.float32))
m.Tensor(np.ones(2))
m.Tensor(m.Size([2,3])).shape
m.Tensor(1.5)
m.Tensor('a')
m.Tensor([1,2],device='cpu')
m.Tensor(2,device='cpu').shape
m.Tensor(None)
m.Tensor(-1)
m.FloatTensor([1,2])
m.FloatTensor(2,3).shape
m.FloatTensor()
m.LongTensor([1,2])
m.LongTensor([1.5])
m.DoubleTensor([1])
m.HalfTensor([1])
m.BFloat16Tensor([1])
m.ByteTensor([1])
m.CharTensor([1])
m.ShortTensor([1])
m.IntTensor([1])
m.BoolTensor([1,0])
m.IntTensor(m.ones(2,dtype=m.int32))
m.FloatTensor.dtype
m.FloatTensor.is_cuda
isinstance(m.ones(2),m.FloatTensor)
isinstance(m.ones(2),m.LongTensor)
isinstance(m.ones(2),m.Tensor)
m.ones(2).new([1,2])
m.ones(2).new(2,3).shape
m.ones(2).new().shape
m.ones(2).new_tensor([1,2])
m.ones(2).data_ptr()!=0
m.ones(2).storage_offset()
m.ones(2).untyped_storage().nbytes()
m.ones(2).untyped_storage().size()
len(m.ones(2).untyped_storage())
m.ones(2).untyped_storage().device
m.ones(2).untyped_storage().tolist()
m.ones(2).untyped_storage()[3]
m.ones(2).untyped_storage().data_ptr()>0
m.UntypedStorage(3).size()
m.UntypedStorage([1,2])
m.tensor([1.,2.]).storage()
m.tensor([1.,2.]).storage().tolist()
m.tensor([1.,2.]).storage().dtype
m.tensor([1.,2.]).storage().size()
m.Size([1,2])
m.Size([1,2])[0]
m.Size([1,2])[:1]
m.Size([1,2])+(3,)
m.Size([1,2]).numel()
m.Size((1,2))==(1,2)
m.Size(2)
str(m.Size([]))
m.float32
str(m.int64)
m.device('cpu')
str(m.device('cuda:1'))
m.device('cpu')==m.device('cpu')
m.nn.Parameter(m.ones(2))
m.nn.Parameter(m.ones(2),requires_grad=False)
str(m.nn.Parameter(m.ones(2)))
m.finfo(m.float32)
m.iinfo(m.int8)
m.finfo(m.bfloat16).eps
m.ones(2).is_same_size(m.ones(2))
m.is_same_size(m.ones(2),m.ones(3))
m.ones(2).apply_(lambda x:x+1)
m.ones(2).map_(m.full((2,),3.),lambda a,b:a+b)
m.ones(2).map2_(m.full((2,),3.),m.ones(2),lambda a,b,c:a+b+c)
m.ones(2,requires_grad=True).apply_(lambda x:x+1)
m.ones(2).names
m.ones(2).grad_fn
m.ones(2).output_nr
m.ones(2)._version
m.ones(2).device
m.ones(2).get_device()
m.get_device(m.ones(2))
m.ones(2,3).T
m.ones(2,3,4).mT.shape
m.ones(2).shape
m.ones(2).size()
m.ones(2,3).size(1)
m.ones(2,3).size(-3)
m.ones(2,3).stride(0)
m.ones(2,3).stride(5)
m.ones(2,3).dim()
m.get_default_dtype()
m.is_warn_always_enabled()
m.get_float32_matmul_precision()
m.are_deterministic_algorithms_enabled()
m.get_deterministic_debug_mode()
m.is_deterministic_algorithms_warn_only_enabled()
m.get_num_interop_threads()>0
m.utils.dlpack.from_dlpack(m.utils.dlpack.to_dlpack(m.ones(2)))
m.from_dlpack(m.to_dlpack(m.ones(2)))
m.ones(2).__dlpack_device__()
m.from_dlpack(np.ones(2))
np.from_dlpack(m.ones(2))
m.from_dlpack(3)
m.ones(2,requires_grad=True).__dlpack__()
m.ones(2).__dlpack__(stream='a')
copy.copy(m.ones(2))
copy.deepcopy(m.ones(2,requires_grad=True))
pickle.loads(pickle.dumps(m.ones(2,3).T))
pickle.loads(pickle.dumps(m.nn.Parameter(m.ones(2))))
pickle.loads(pickle.dumps(m.float32))
pickle.loads(pickle.dumps(m.Size([1])))
pickle.loads(pickle.dumps(m.device('cpu')))
+m.tensor([True])
-m.tensor([True])
m.tensor([True])-m.tensor([True])
m.ones(2)//0
m.tensor([1,2])//0
m.tensor([1,2])%0
divmod(m.tensor([5]),3)
divmod(7,m.tensor([5]))
round(m.tensor([1.5]))
round(m.tensor(1.234),2)
abs(m.tensor([-1]))
m.testing.assert_close(m.ones(2),m.ones(2))
m.testing.assert_close(m.ones(2),m.zeros(2))
m.testing.assert_close(m.ones(2),m.ones(3))
m.testing.assert_close(m.ones(2),m.ones(2,dtype=m.int64))
m.testing.assert_close([m.ones(2),1],[m.ones(2),2])
m.testing.assert_close({'a':1.0},{'a':1.1})
m.testing.assert_close({'a':1.0},{'b':1.1})
m.testing.assert_close(1,1.0)
m.testing.assert_close(m.tensor(1.),m.tensor(1.1))
m.testing.assert_close(m.tensor([float('nan')]),m.tensor([float('nan')]))
m.testing.assert_close(m.tensor([float('nan')]),m.tensor([float('nan')]),equal_nan=True)
m.testing.assert_close(m.tensor([1.,2.]),m.tensor([1.,2.1]),rtol=0,atol=1)
m.testing.assert_close(m.tensor([1.,2.]),m.tensor([1.,2.1]),rtol=0)
m.testing.assert_close(m.tensor([1,2]),m.tensor([1,3]))
m.testing.assert_close(m.tensor([True]),m.tensor([False]))
m.testing.assert_close(m.ones(2,3),m.ones(2,3)+m.arange(3),msg='hello')
m.testing.assert_close(m.ones(2,3),m.ones(2,3)+m.arange(3),msg=lambda s:'A '+s)
m.testing.assert_close('a','a')
m.testing.assert_close(np.ones(2),np.zeros(2))
m.testing.assert_close([1,2],[1,2,3])
m.testing.assert_close(m.ones(2),m.ones(2),check_stride=True)
m.testing.assert_close(m.ones(3,2).T,m.ones(2,3),check_stride=True)
m.testing.make_tensor((2,3),dtype=m.float32,device='cpu').shape
m.testing.make_tensor(2,3,dtype=m.int64,device='cpu',low=0,high=1)
m.testing.make_tensor((2,),dtype=m.float32,device='cpu',low=3,high=1)
m.testing.make_tensor((2,),dtype=m.bool,device='cpu').dtype
m.testing.make_tensor((2,),dtype=m.complex64,device='cpu',requires_grad=True).requires_grad
m.testing.make_tensor((2,),dtype=m.int32,device='cpu',requires_grad=True)
m.testing.make_tensor((2,3),dtype=m.float32,device='cpu',noncontiguous=True).stride()
m.testing.make_tensor((20,),dtype=m.float32,device='cpu',low=0,high=1,exclude_zero=True).eq(0).any()
np.add(m.ones(2),1)
np.add(1,m.ones(2))
np.add(m.ones(2),m.ones(2))
np.add(m.ones(2),np.ones(2))
np.sqrt(m.ones(2))
np.sin(m.tensor(1.0))
np.equal(m.ones(2),1)
np.array(m.ones(2),dtype=np.float64)
np.array(m.ones(2),copy=True)
np.ones(2)==m.ones(2)
np.multiply.reduce(m.ones(3))
np.argmax(m.ones(3))
np.reshape(m.ones(4),(2,2))
np.transpose(m.ones(2,3)).shape
np.dot(m.ones(2),m.ones(2))
np.matmul(m.ones(2,2),m.ones(2,2))
np.cumsum(m.ones(2))
np.round(m.tensor([2.4,1.]))
np.clip(m.tensor([2.4,1.]),0,1)
np.isnan(m.tensor([2.4,1.]))
m.ones(2)+np.ones(2)
m.ones(2,2)@np.ones((2,2))
m.ones(2)==np.ones(2)
m.tensor([-1.,2.]).prelu(m.tensor([.5]))
m.tensor([-1.,.2]).hardshrink(.5)
m.ones(2).__cuda_array_interface__
m.promote_types(m.uint16,m.int8)
m.promote_types(m.uint16,m.float32)
m.ones(2).requires_grad_(1)
repr(type(m.ones(2)))
m.dtype
m.device
m.Size
m.layout
m.finfo
"""


def shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value!r}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(shown, value))})"
    if hasattr(value, "dtype") and hasattr(value, "stride"):
        return f"{value!r} {value.dtype} {tuple(value.stride())}"
    return repr(value)


def outcome(case: str, package: object) -> str:
    names = {"m": package, "np": np, "copy": copy, "pickle": pickle, "io": io, "sys": sys}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            text = shown(eval(case, names))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
    return text.replace("dumbtorch", "torch")


@pytest.mark.parametrize("case", CASES.strip().splitlines())
def test_as_pytorch(case: str) -> None:
    assert outcome(case, dumbtorch) == outcome(case, torch)
