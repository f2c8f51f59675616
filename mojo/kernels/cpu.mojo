"""What the CPU can do beyond the level that the extension is compiled for, found out at run time."""

from std.ffi import _Global, external_call
from std.sys import CompilationTarget
from std.sys._assembly import inlined_assembly

comptime SYS_ARCH_PRCTL = 158
comptime ARCH_REQ_XCOMP_PERM = 0x1023
comptime XFEATURE_XTILEDATA = 18


struct _Abilities(Movable):
    var amx: Bool
    var bfloat16_pairs: Bool

    def __init__(out self):
        self.amx = False
        self.bfloat16_pairs = False
        comptime if CompilationTarget.has_avx512f():
            # CPUID leaf 7, second page: AVX512-BF16 is bit 5 of EAX (a processor without the page gives zeros)
            var eax = inlined_assembly[
                "movl $$7, %eax\nmovl $$1, %ecx\ncpuid\nmovl %eax, $0",
                Int32, constraints="=r,~{rax},~{rbx},~{rcx},~{rdx},~{flags}", has_side_effect=True,
            ]()  # fmt: skip
            self.bfloat16_pairs = eax & Int32(1 << 5) != 0
        comptime if CompilationTarget.is_linux() and CompilationTarget.has_avx512f():
            # CPUID leaf 7, first page: AMX-BF16 is bit 22 of EDX, AMX-TILE bit 24
            var edx = inlined_assembly[
                "movl $$7, %eax\nxorl %ecx, %ecx\ncpuid\nmovl %edx, $0",
                Int32, constraints="=r,~{rax},~{rbx},~{rcx},~{rdx},~{flags}", has_side_effect=True,
            ]()  # fmt: skip
            comptime NEEDED = Int32(1 << 22 | 1 << 24)
            if edx & NEEDED == NEEDED:
                # the system keeps tile state only for processes that asked for it
                var none = Int(0)
                var status = external_call["syscall", Int](
                    Int(SYS_ARCH_PRCTL), Int(ARCH_REQ_XCOMP_PERM), Int(XFEATURE_XTILEDATA), none, none, none, none
                )
                self.amx = status == 0


comptime _ABILITIES = _Global[StorageType=_Abilities, "DUMBTORCH_CPU", _Abilities.__init__]


def has_amx() -> Bool:
    """Whether this process may use the tile registers, and they multiply bfloat16."""
    try:
        return _ABILITIES.get_or_create_ptr()[].amx
    except:
        return False


def has_bfloat16_pairs() -> Bool:
    """Whether the processor multiplies pairs of bfloat16 and adds them to float32 (AVX512-BF16)."""
    try:
        return _ABILITIES.get_or_create_ptr()[].bfloat16_pairs
    except:
        return False
