from __future__ import annotations
from pathlib import Path
def write(usability, folder, pages):
    pass
