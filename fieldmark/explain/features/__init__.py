"""What the features of a network respond to: synthetic images, feature maps, the embedding.

Feature visualisation by optimisation follows Olah, Mordvintsev and Schubert (2017), "Feature
Visualization". Lucent (torch-lucent), which brought it to PyTorch, is not used: its last release,
0.1.8 of May 2021, requires kornia 0.4.1 or older, of the year before, and its stored colours and
its normalisation are those of one set of networks. These modules use torch alone.
"""
