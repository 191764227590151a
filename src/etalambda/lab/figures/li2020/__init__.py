"""Li, Lyu & Arora 2020, *Reconciling modern deep learning with traditional optimization analyses:
the intrinsic learning rate*."""
