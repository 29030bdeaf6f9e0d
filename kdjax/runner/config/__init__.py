"""All settings of a run as frozen values; each option's help becomes its flag's.

One file a group of settings.
"""

import dataclasses

from kdjax.runner.config.cache import Cache
from kdjax.runner.config.cluster import Cluster
from kdjax.runner.config.compression import Compression
from kdjax.runner.config.computing import Computing
from kdjax.runner.config.controls import Controls
from kdjax.runner.config.data import Data
from kdjax.runner.config.distillation import Distillation
from kdjax.runner.config.evaluation import Evaluation
from kdjax.runner.config.export import Export
from kdjax.runner.config.field import AUTO, Interval
from kdjax.runner.config.generation import Continuation
from kdjax.runner.config.language import Language
from kdjax.runner.config.networks import Student, Teacher
from kdjax.runner.config.quantify import Quantify
from kdjax.runner.config.run import Run
from kdjax.runner.config.search import Search
from kdjax.runner.config.soft_td import SoftTD
from kdjax.runner.config.synthesis import Synthesis
from kdjax.runner.config.teaching import Teaching

__all__ = [
  "AUTO",
  "Cache",
  "Compression",
  "Computing",
  "Cluster",
  "Continuation",
  "Controls",
  "Data",
  "Distillation",
  "Evaluation",
  "Experiment",
  "Export",
  "Interval",
  "Language",
  "Quantify",
  "Teaching",
  "Run",
  "Search",
  "SoftTD",
  "Student",
  "Synthesis",
  "Teacher",
  "Text",
]


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that determines a run."""

  data: Data = Data()
  language: Language = Language()
  continuation: Continuation = Continuation()
  teacher: Teacher = Teacher()
  student: Student = Student()
  distillation: Distillation = Distillation()
  teaching: Teaching = Teaching()
  controls: Controls = Controls()
  search: Search = Search()
  quantify: Quantify = Quantify()
  cache: Cache = Cache()
  soft_td: SoftTD = SoftTD()
  synthesis: Synthesis = Synthesis()
  compression: Compression = Compression()
  evaluation: Evaluation = Evaluation()
  export: Export = Export()
  computing: Computing = Computing()
  run: Run = Run()
  cluster: Cluster = Cluster()
