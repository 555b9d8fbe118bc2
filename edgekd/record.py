"""The one base of every record: frozen, and strict about keys."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen value. Unknown keys are refused, so a typing error never passes as a setting."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
