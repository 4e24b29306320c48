"""The published experiment: a data set of known people, repainted and judged.

`people` reads the data set, `generation` writes the folder of `outputs`, `evaluation`
and `report` judge it. `facenet_training`, `finetuning`, `identities` and
`private_training` train the networks that recognise people. `cli` has the commands.
"""
