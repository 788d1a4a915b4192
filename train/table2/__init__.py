"""The paper's Table 2 on a dataset of one's own."""
