"""The smallest training that runs, for tests of everything around it."""


def tiny_training(workers: int) -> str:
    """A config (TOML) of four images at 64 px. workers: processes that make them, 0 for none."""
    return f"""
name = "tiny"
precision = "fp32"
workers = {workers}
validation_faces = 1
generator = {{ widths = [4, 8] }}
discriminator = {{ crop_px = 32 }}
data = {{ kinds = {{ nose_mask = 1.0 }} }}

[[phases]]
name = "only"
images = 4
size_px = 64
batch = 2
learning_rate = 1e-3

[phases.losses]
l1_hole = 1.0
"""
