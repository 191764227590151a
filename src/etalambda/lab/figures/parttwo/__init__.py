"""Part II: the evaluation of weight-decay schedules that Richemond & Guo 2019 announced."""
