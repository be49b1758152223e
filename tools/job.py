"""What a run works on: the model and the data, loaded and found to fit each other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pruna_ir.analysis.counting import external_files
from pruna_ir.data import BoundDataset, Dataset
from pruna_ir.data.doubts import doubts
from pruna_ir.emission import Feeds, first_samples, outputs_with_nan, refuse_same_file
from pruna_ir.model import Model
from pruna_ir.model.load import TEXT_SUFFIXES
from pruna_ir.pipeline.pass_base import Need
from pruna_ir.runtime.session import Session
from pruna_ir.tools.plan import Plan
from pruna_ir.tools.talk import Talk


@dataclass(frozen=True)
class Job:
    """A plan with its model, which the passes change, its data, and the one to talk to."""

    plan: Plan
    talk: Talk
    model: Model
    original: Model
    data: BoundDataset | None
    _sessions: dict[int, Session] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What every run of the passes is given."""
        options = self.plan.options
        return {"data": self.data, "target": self.plan.target, "max_drop": options.max_drop, "goal": options.goal}

    def by_target(self) -> list[Job]:
        """A job for each target of the plan, with a model of its own."""
        plans = self.plan.by_target()
        return [
            replace(self, plan=plan, model=self.model if index == 0 else self.original.clone())
            for index, plan in enumerate(plans)
        ]

    def original_session(self, threads: int = 1) -> Session:
        """The model as it was brought, in ONNX Runtime: the very file, unless it is text. Opened once."""
        if threads not in self._sessions:
            path = self.plan.model
            source = self.original if path.suffix in TEXT_SUFFIXES else path
            self._sessions[threads] = Session(source, threads=threads)
        return self._sessions[threads]

    def samples(self) -> list[Feeds]:
        """The first samples on which the original gives numbers: those that what is written must give numbers on."""
        session = self.original_session()
        samples = first_samples(session, self.data)
        if self.data is None:
            return samples
        sound = []
        for index, feeds in enumerate(samples):
            bad = outputs_with_nan(session.run(feeds))
            if bad:
                self.talk.warn(f"the original model's output `{bad[0]}` holds NaN on sample {index}")
            else:
                sound.append(feeds)
        return sound


def load_job(plan: Plan, talk: Talk) -> Job:
    """Load the model, then the data; raises what is wrong with them, and C002 for an output over external data."""
    model = Model.load(plan.model)
    for path in plan.written():
        refuse_same_file(path, sorted(external_files(plan.model)))
    for note in model.notes:
        talk.detail(note)
    return Job(plan, talk, model, model.clone(), _load_data(plan, model, talk))


def _load_data(plan: Plan, model: Model, talk: Talk) -> BoundDataset | None:
    if plan.data is None:
        return None
    dataset = Dataset.load(plan.data)
    for warning in dataset.warnings:
        talk.warn(warning)
    data = dataset.bind(model.inputs())
    if any(Need.DATA in item.needs for item in plan.manager.passes):
        for doubt in doubts(data):
            talk.warn(doubt)
    return data
