"""Builds the native ops, and nothing else: the package's metadata is in setup.cfg.

The ops use TensorFlow's C API through declarations of our own (cc/tf_c_api.h), so no
TensorFlow is needed here. The library must only *name* the one it will find at run
time: an empty stub with TensorFlow's soname is built for the linker to look at and is
then thrown away. One binary therefore serves every Python and TensorFlow we support.

The extension is optional. Without a compiler the package installs as pure Python, and
`tfpriv info` and the first op call say so.
"""

import os
import platform
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

TENSORFLOW_SONAME = "libtensorflow_framework.so.2"
OPS = Path("tfpriv", "ops", "cc")
WEIGHTS = Path(
    "checkpoints"
)  # tfpriv/support/checkpoints.py looks where they are installed
COMPILE_FLAGS = [
    "-std=c++17",
    "-O3",
    # Contraction into fused multiply-adds would make the noise depend on the machine.
    "-ffp-contract=off",
    # Nobody reads errno or the floating-point flags; without these, sqrt is scalar.
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-g0",  # Python asks for debugging symbols, which are most of the library
    "-Wall",
    "-Wextra",
    # Vectors wider than the baseline are passed between inlined functions only.
    "-Wno-psabi",
]
MISSING = (
    "tfpriv: the native ops were not built ({reason}). "
    "The pure-TensorFlow versions are used instead: same results, slower."
)


class BuildOps(build_ext):
    """Compiles the native ops, or says plainly why it could not."""

    def get_ext_filename(self, fullname: str) -> str:
        # No Python ABI in the name: the library does not use Python.
        return os.path.join(*fullname.split(".")) + ".so"

    def build_extension(self, ext: Extension) -> None:
        targets = [Path(self.get_ext_fullpath(ext.name))]
        if self.editable_mode or self.inplace:
            targets.append(Path(self.get_ext_filename(ext.name)))
        for target in targets:  # an old library must not pass for a new one
            target.unlink(missing_ok=True)
        try:
            if sys.platform != "linux":
                raise OSError(f"Linux only, this is {platform.system()}")
            ext.library_dirs = [self.build_stub()]
            super().build_extension(ext)
        except Exception as error:  # whatever went wrong, the package still installs
            print(MISSING.format(reason=error), file=sys.stderr)

    def build_stub(self) -> str:
        """Builds an empty library of TensorFlow's soname; returns its folder."""
        folder = Path(self.build_temp, "stub")
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "empty.cc"
        source.write_text("")
        self.compiler.link_shared_object(
            self.compiler.compile([str(source)], output_dir="/"),
            str(folder / TENSORFLOW_SONAME),
            extra_postargs=[f"-Wl,-soname,{TENSORFLOW_SONAME}"],
            target_lang="c++",
        )
        return str(folder)


class PlatformWheel(bdist_wheel):
    """Tags the wheel for any Python 3 on this platform (any platform without ops)."""

    def get_tag(self) -> tuple[str, str, str]:
        built = Path(self.get_finalized_command("build").build_lib, *OPS.parent.parts)
        if not list(built.glob("*.so")):
            return "py3", "none", "any"
        return "py3", "none", super().get_tag()[2]


def data_files() -> list[tuple[str, list[str]]]:
    """The small weights, folder by folder, under `share/tfpriv`."""
    folders = [WEIGHTS, *sorted(path for path in WEIGHTS.rglob("*") if path.is_dir())]
    return [
        (
            str(Path("share", "tfpriv", folder)),
            sorted(str(path) for path in folder.iterdir() if path.is_file()),
        )
        for folder in folders
    ]


setup(
    data_files=data_files(),
    ext_modules=[
        Extension(
            "tfpriv.ops._native",
            sources=sorted(str(path) for path in OPS.glob("*.cc")),
            depends=[*sorted(str(path) for path in OPS.glob("*.h")), "setup.py"],
            language="c++",
            extra_compile_args=COMPILE_FLAGS,
            # --no-as-needed: nothing in the stub is used, its name must be kept.
            extra_link_args=[
                "-Wl,--no-as-needed",
                f"-l:{TENSORFLOW_SONAME}",
                "-Wl,--as-needed",
                "-pthread",
            ],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildOps, "bdist_wheel": PlatformWheel},
)
