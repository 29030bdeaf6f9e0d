"""All settings of a run as frozen values; each option's help becomes its flag's.

One file a group of settings.
"""

import dataclasses

from kdjax.config.cache import Cache
from kdjax.config.cluster import Cluster
from kdjax.config.compression import Compression
from kdjax.config.computing import Computing
from kdjax.config.controls import Controls
from kdjax.config.data import Data
from kdjax.config.distillation import Distillation
from kdjax.config.export import Export
from kdjax.config.networks import Student, Teacher
from kdjax.config.option import AUTO, Interval
from kdjax.config.quantify import Quantify
from kdjax.config.run import Run
from kdjax.config.search import Search
from kdjax.config.soft_td import SoftTD
from kdjax.config.synthesis import Synthesis
from kdjax.config.teaching import Teaching

__all__ = [
  "AUTO",
  "Cache",
  "Compression",
  "Computing",
  "Cluster",
  "Controls",
  "Data",
  "Distillation",
  "Experiment",
  "Export",
  "Interval",
  "Quantify",
  "Teaching",
  "Run",
  "Search",
  "SoftTD",
  "Student",
  "Synthesis",
  "Teacher",
]


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that determines a run."""

  data: Data = Data()
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
  export: Export = Export()
  computing: Computing = Computing()
  run: Run = Run()
  cluster: Cluster = Cluster()
