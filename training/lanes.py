"""Eight rows at once in the processor's vectors. Numba's loops do not come to that by themselves, because for all the compiler
knows a table and what is added up may be the same memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.groups import CACHE_LINE, LINE


def _lines_added(
    context: Any, table: Any, places: Any, offset: Any, sums: Any, columns: Any, first: Any, row: Any, ahead: Any
) -> Any:  # fmt: skip
    from llvmlite import ir
    from numba.core import types

    signature = types.void(table, places, types.int64, sums, columns, types.int64, types.int64, types.int64)

    def code(target: Any, build: Any, signature: Any, given: Any) -> Any:
        table, places, sums, columns = (target.make_array(signature.args[i])(target, build, given[i]) for i in (0, 1, 3, 4))
        offset, first, row, ahead = (given[i] for i in (2, 5, 6, 7))
        _fetch(build, table.data, ahead)
        at = [build.load(_place(build, places.data, row, lane)) for lane in range(LINE)]
        lines = _turned(build, [build.load(_line(build, table.data, build.add(one, offset), 32), align=4) for one in at])
        length = build.extract_value(sums.shape, 1)
        for lane, line in enumerate(lines):
            column = build.load(_place(build, columns.data, first, lane))
            sum_of_eight = _line(build, sums.data, build.add(build.mul(column, length), row), 64)
            added = build.sext(line, ir.VectorType(ir.IntType(64), LINE))
            build.store(build.add(build.load(sum_of_eight, align=8), added), sum_of_eight, align=8)
        return target.get_dummy_value()

    return signature, code


def adding() -> Callable[..., Callable[..., None]]:
    """What numba compiles in the place of `training.kernels._add_lines`, for `numba.extending.overload`.

    Raises:
        ImportError: numba is not there, or does not go with numpy.
    """
    from numba.extending import intrinsic

    add_lines: Any = intrinsic(_lines_added)

    def typed(
        table: Any, places: Any, offset: Any, sums: Any, columns: Any, first: Any, row: Any, ahead: Any
    ) -> Callable[..., None]:  # fmt: skip
        def add(
            table: Any, places: Any, offset: Any, sums: Any, columns: Any, first: Any, row: Any, ahead: Any
        ) -> None:  # fmt: skip
            add_lines(table, places, offset, sums, columns, first, row, ahead)

        return add

    return typed


def _fetch(build: Any, numbers: Any, first: Any) -> None:
    """Have the processor fetch as many lines as there are lanes."""
    from llvmlite import ir

    pointer, told = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer, told, told, told])
    to_read, to_keep, of_data = (ir.Constant(told, number) for number in (0, 3, 1))
    prefetch = build.module.declare_intrinsic("llvm.prefetch", (pointer,), kind)
    for lane in range(LINE):
        line = build.bitcast(_place(build, numbers, first, CACHE_LINE * lane), pointer)
        build.call(prefetch, [line, to_read, to_keep, of_data])


def _place(build: Any, numbers: Any, first: Any, more: int) -> Any:
    from llvmlite import ir

    return build.gep(numbers, [build.add(first, ir.Constant(ir.IntType(64), more))])


def _line(build: Any, numbers: Any, place: Any, bits: int) -> Any:
    from llvmlite import ir

    return build.bitcast(build.gep(numbers, [place]), ir.VectorType(ir.IntType(bits), LINE).as_pointer())


def _turned(build: Any, lines: list[Any]) -> list[Any]:
    """Rows of eight numbers as columns: halves change places, then halves of halves."""
    for size in (1, 2, 4):
        turned = list(lines)
        for one in (lane for lane in range(LINE) if not lane & size):
            pair = lines[one], lines[one | size]
            turned[one] = _mixed(build, pair, [lane if not lane & size else LINE + (lane ^ size) for lane in range(LINE)])
            turned[one | size] = _mixed(build, pair, [lane | size if not lane & size else LINE + lane for lane in range(LINE)])
        lines = turned
    return lines


def _mixed(build: Any, pair: tuple[Any, Any], lanes: list[int]) -> Any:
    from llvmlite import ir

    return build.shuffle_vector(*pair, ir.Constant(ir.VectorType(ir.IntType(32), LINE), lanes))
