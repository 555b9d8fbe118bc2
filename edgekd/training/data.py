"""What a run is trained and judged on."""

from dataclasses import dataclass, replace

from edgekd.data.split import Split
from edgekd.preprocessing import Preprocessing
from edgekd.tasks.task import Task


@dataclass(frozen=True)
class TrainingData:
    """Training and validation samples, how they become model inputs, and how outputs are scored."""

    train: Split
    val: Split
    preprocessing: Preprocessing
    task: Task

    @property
    def labelled(self) -> bool:
        return self.train.labels is not None and self.val.labels is not None

    @property
    def unlabelled(self) -> int:
        """How many training samples have no label, where others have one."""
        return len(self.train) - len(self.train.labelled_part())

    def labelled_only(self) -> "TrainingData":
        """The same without the training samples whose labels nobody knows, which only a teacher can teach on."""
        return replace(self, train=self.train.labelled_part())
