"""Lewkowycz & Gur-Ari 2020, Algorithm 1 (AutoL2), line by line. No options."""

import math


def auto_l2(losses, errors, lam0, every, refractory):
    """λ after each step t = 0, 1, ...; ``losses[t]`` is looked at when t is a multiple."""
    drops, min_step = 0, 0.0
    minloss = minerr = prevloss = preverr = math.inf
    lams = []
    for t, (loss, err) in enumerate(zip(losses, errors)):
        if t % every == 0:
            loss_up = loss > minloss and prevloss > minloss
            err_up = err > minerr and preverr > minerr
            if (loss_up or err_up) and t - min_step > 1e-6:
                drops = drops + 1
                min_step = t + refractory / (lam0 / 10**drops)
            else:
                minloss = min(prevloss, minloss)
                minerr = min(preverr, minerr)  # the paper prints ERROR
            prevloss, preverr = loss, err
        lams.append(lam0 / 10**drops)
    return lams
