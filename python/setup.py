"""The extension module; everything else is in pyproject.toml.

keel._raw is made of SWIG's wrapper (committed; made by tools/swig), the binding's own C, and the whole engine as one
file. In a checkout that file comes from ../go, where tools/amalgamate.py puts it; a source distribution carries it in
ext/.
"""

import filecmp
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).resolve().parent
BROUGHT = {"ext/keel.c": "../go/keel.c", "ext/keel.h": "../go/keel.h", "LICENSE": "../LICENSE"}

for name, origin in BROUGHT.items():
    source, target = HERE / origin, HERE / name
    if source.exists() and not (target.exists() and filecmp.cmp(source, target, shallow=False)):
        shutil.copyfile(source, target)
    if not target.exists():
        sys.exit(f"python/{name} is missing and so is {origin}: in a checkout, run `./dev gen` first")

# The engine is private to the module: with all its symbols hidden, a libkeel in the same process is another one.
unix = sys.platform != "win32"
extension = Extension(
    "keel._raw",
    sources=["ext/raw_wrap.c", "ext/keelpy.c", "ext/hot.c", "ext/view.c", "ext/keel.c"],
    depends=["ext/keelpy.h", "ext/keel.h"],
    include_dirs=["ext"],
    define_macros=[("Py_LIMITED_API", "0x030b0000"), ("KEEL_API", "")],
    py_limited_api=True,
    extra_compile_args=["-O2", "-fno-strict-aliasing", "-fvisibility=hidden", "-pthread"] if unix else [],
    extra_link_args=["-pthread"] if unix else [],
)

setup(ext_modules=[extension], options={"bdist_wheel": {"py_limited_api": "cp311"}})
