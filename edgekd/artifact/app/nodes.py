"""Writing graphs by code: operators in their order, and each value named by the one that writes it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

Value = str | np.generic | npt.NDArray[Any]
"""What an operator takes: the name of a value, or numbers, which are stored."""


@dataclass
class Nodes:
    """Operators in the making, `made` one after the other, with the constants that they take.

    All names begin with `prefix`; constants are shared by the branches of choices.
    """

    prefix: str
    made: list[NodeProto] = field(default_factory=list)
    stored: list[TensorProto] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def add(self, operator: str, *inputs: Value, into: str | None = None, **attributes: Any) -> str:
        """Append an operator of one output and return its name, `into` where one is given."""
        return self.several(1, operator, *inputs, into=into, **attributes)[0]

    def several(
        self, outputs: int, operator: str, *inputs: Value, into: str | None = None, **attributes: Any
    ) -> list[str]:
        """Append an operator of several outputs and return their names."""
        names = [self._name(operator) for _ in range(outputs)] if into is None else [into]
        taken = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        self.made.append(helper.make_node(operator, taken, names, name=f"{names[0]}_node", **attributes))
        return names

    def cast(self, value: Value, dtype: npt.DTypeLike) -> str:
        """Append a change of type."""
        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def choice(self, condition: str, yes: Callable[["Nodes"], str], no: Callable[["Nodes"], str], kind: int) -> str:
        """Append what writes, as `condition` (one truth value) says, the one or the other value of the type `kind`."""
        return self.add("If", condition, then_branch=self._branch(yes, kind), else_branch=self._branch(no, kind))

    def _branch(self, write: Callable[["Nodes"], str], kind: int) -> GraphProto:
        inner = Nodes(self.prefix, stored=self.stored, names=self.names)
        output = helper.make_tensor_value_info(write(inner), kind, None)
        return helper.make_graph(inner.made, self._name("branch"), [], [output])

    def _constant(self, values: np.generic | npt.NDArray[Any]) -> str:
        tensor = numpy_helper.from_array(np.asarray(values), self._name("constant"))
        self.stored.append(tensor)
        return tensor.name

    def _name(self, what: str) -> str:
        name = f"{self.prefix}{what.lower()}_{len(self.names)}"
        self.names.add(name)
        return name
