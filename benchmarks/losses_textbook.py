"""Losses as the papers' formulas have them, for JAX and PyTorch alike.

Each takes a library `xp` (jax.numpy or torch), its log_softmax, and the arrays;
the two libraries agree in the names that are used here. Nothing is arranged for
speed or for extremes. All return the batch's mean.
"""

import math


def _logs(ls, s, t, temperature):
  return ls(s / temperature), ls(t / temperature)


def _kl(xp, log_p, log_q):
  return (xp.exp(log_p) * (log_p - log_q)).sum(-1)


def kd(xp, ls, s, t, y, temperature=4.0):
  log_q, log_p = _logs(ls, s, t, temperature)
  return temperature**2 * _kl(xp, log_p, log_q).mean()


def soft_cross_entropy(xp, ls, s, t, y):
  return -(xp.exp(ls(t)) * ls(s)).sum(-1).mean()


def forward_kl(xp, ls, s, t, y):
  return _kl(xp, ls(t), ls(s)).mean()


def reverse_kl(xp, ls, s, t, y):
  return _kl(xp, ls(s), ls(t)).mean()


def symmetric_kl(xp, ls, s, t, y):
  log_q, log_p = ls(s), ls(t)
  return 0.5 * (_kl(xp, log_p, log_q) + _kl(xp, log_q, log_p)).mean()


def jensen_shannon(xp, ls, s, t, y):
  log_q, log_p = ls(s), ls(t)
  log_m = xp.logaddexp(log_p, log_q) - math.log(2)
  return 0.5 * (_kl(xp, log_p, log_m) + _kl(xp, log_q, log_m)).mean()


def skew_kl(xp, ls, s, t, y, lam=0.1):
  log_q, log_p = ls(s), ls(t)
  log_m = xp.log(lam * xp.exp(log_p) + (1 - lam) * xp.exp(log_q))
  return _kl(xp, log_p, log_m).mean()


def skew_reverse_kl(xp, ls, s, t, y, lam=0.1):
  log_q, log_p = ls(s), ls(t)
  log_m = xp.log((1 - lam) * xp.exp(log_p) + lam * xp.exp(log_q))
  return _kl(xp, log_q, log_m).mean()


def tvd(xp, ls, s, t, y):
  return 0.5 * xp.abs(xp.exp(ls(t)) - xp.exp(ls(s))).sum(-1).mean()


def logit_mse(xp, ls, s, t, y):
  return xp.square(s - t).mean()


def cosine_distance(xp, ls, s, t, y):
  norms = xp.sqrt((s * s).sum(-1) * (t * t).sum(-1))
  return (1 - (s * t).sum(-1) / norms).mean()


def _at_label(xp, x, y):
  at_label = y[:, None] == xp.arange(x.shape[-1])[None, :]
  return at_label, xp.where(at_label, x, 0.0).sum(-1)


def hard_distillation(xp, ls, s, t, y):
  return -_at_label(xp, ls(s), t.argmax(-1))[1].mean()


def dkd(xp, ls, s, t, y, alpha=1.0, beta=8.0, temperature=4.0):
  log_q, log_p = _logs(ls, s, t, temperature)
  own, log_qy = _at_label(xp, log_q, y)
  _, log_py = _at_label(xp, log_p, y)
  qy, py = xp.exp(log_qy), xp.exp(log_py)
  target = py * (log_py - log_qy)
  target = target + (1 - py) * (xp.log(1 - py) - xp.log(1 - qy))
  gone = xp.where(own, 1000.0, 0.0)
  log_q, log_p = _logs(ls, s - temperature * gone, t - temperature * gone, 4.0)
  others = _kl(xp, log_p, log_q)
  return temperature**2 * (alpha * target + beta * others).mean()


def nkd(xp, ls, s, t, y, gamma=1.5):
  own, log_qy = _at_label(xp, ls(s), y)
  _, log_py = _at_label(xp, ls(t), y)
  gone = xp.where(own, 1000.0, 0.0)
  log_q, log_p = ls(s - gone), ls(t - gone)
  others = (xp.exp(log_p) * xp.where(own, 0.0, log_q)).sum(-1)
  return -(xp.exp(log_py) * log_qy + gamma * others).mean()


def ofa(xp, ls, s, t, y):
  return -(xp.exp(ls(t)) * ls(s)).sum(-1).mean()


def ttm(xp, ls, s, t, y, gamma=0.25):
  return _kl(xp, ls(gamma * t), ls(s)).mean()


def dist(xp, ls, s, t, y, eps=1e-8):
  q, p = xp.exp(ls(s)), xp.exp(ls(t))

  def distance(q, p):
    q, p = q - q.mean(-1)[:, None], p - p.mean(-1)[:, None]
    norms = xp.sqrt((q * q).sum(-1)) * xp.sqrt((p * p).sum(-1))
    return (1 - (q * p).sum(-1) / (norms + eps)).mean()

  return distance(q, p) + distance(q.T, p.T)


def batch_correlation(xp, ls, s, t, y):
  q, p = xp.exp(ls(s)), xp.exp(ls(t))
  return xp.square(q @ q.T - p @ p.T).sum() / len(s)


def fitnet(xp, ls, s, t, y):
  return xp.square(s - t).mean()


def _unit(xp, x):
  return x / xp.sqrt((x * x).sum(-1))[..., None]


def attention_transfer(xp, ls, s, t, y):
  maps = (xp.square(f).mean(-1).reshape((len(f), -1)) for f in (s, t))
  student, teacher = (_unit(xp, x) for x in maps)
  return xp.square(student - teacher).mean()


def factor_transfer(xp, ls, s, t, y):
  student, teacher = (_unit(xp, f.reshape((len(f), -1))) for f in (s, t))
  return xp.abs(student - teacher).mean()


def cwd(xp, ls, s, t, y, temperature=4.0):
  student, teacher = (
    xp.swapaxes(f.reshape((len(f), -1, f.shape[-1])), 1, 2) for f in (s, t)
  )
  log_q, log_p = _logs(ls, student, teacher, temperature)
  return temperature**2 * _kl(xp, log_p, log_q).mean()


def attention_kl(xp, ls, s, t, y):
  return _kl(xp, ls(t), ls(s)).mean()


def pkt(xp, ls, s, t, y, eps=1e-7):
  def neighbours(f):
    x = _unit(xp, f)
    similarity = (x @ x.T + 1) / 2
    return similarity / similarity.sum(-1)[:, None]

  q, p = neighbours(s), neighbours(t)
  return (p * xp.log((p + eps) / (q + eps))).mean()


def similarity_preserving(xp, ls, s, t, y):
  student, teacher = (f.reshape((len(f), -1)) for f in (s, t))
  student, teacher = student @ student.T, teacher @ teacher.T
  return xp.square(_unit(xp, student) - _unit(xp, teacher)).mean()


def correlation_congruence(xp, ls, s, t, y, gamma=0.4):
  def kernel(f):
    x = _unit(xp, f)
    g = 2 * gamma * (x @ x.T)
    return math.exp(-2 * gamma) * (1 + g + g * g / 2)

  return xp.square(kernel(s) - kernel(t)).mean()


def _huber(xp, x):
  size = xp.abs(x)
  return xp.where(size < 1, 0.5 * x * x, size - 0.5).mean()


def rkd_distance(xp, ls, s, t, y):
  def distances(f):
    squares = (f * f).sum(-1)
    d = squares[:, None] + squares[None, :] - 2 * (f @ f.T)
    diagonal = xp.arange(len(f))[:, None] == xp.arange(len(f))[None, :]
    d = xp.where(diagonal, 0.0, xp.sqrt(xp.where(diagonal, 1.0, d)))
    return d / (d.sum() / (len(f) * (len(f) - 1)))

  return _huber(xp, distances(s) - distances(t))


def rkd_angle(xp, ls, s, t, y):
  def cosines(f):
    gaps = f[:, None] - f[None]
    squares = (gaps * gaps).sum(-1)
    zero = squares == 0
    norms = xp.sqrt(xp.where(zero, 1.0, squares))
    units = gaps / norms[..., None]
    return xp.matmul(units, xp.swapaxes(units, 1, 2))

  return _huber(xp, cosines(s) - cosines(t))


def relation_mse(xp, ls, s, t, y):
  diagonal = xp.arange(len(s))[:, None] == xp.arange(len(s))[None, :]
  squares = xp.where(diagonal, 0.0, xp.square(s @ s.T - t @ t.T))
  return squares.sum() / (len(s) * (len(s) - 1))
