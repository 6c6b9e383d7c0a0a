"""``python -m schemas.codec.build``: compiles the codec, where there is Cython and a C compiler.

Without them it says so and ends well: fastavro serves. What is built is ``schemas/codec/_compiled*.so``;
it knows what it was made from, and is built anew when that has changed.
"""

import sys
from pathlib import Path
from typing import Final

from schemas.codec import ENGINE, registry
from schemas.codec.generate_cython import generate

ROOT: Final = registry.CODEC.parent.parent
WORK: Final = ROOT / "build" / "codec"
MODULE: Final = "schemas.codec._compiled"


def build() -> None:
    """Compiles the module into its package; ImportError without Cython, CompileError without a compiler."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    WORK.mkdir(parents=True, exist_ok=True)
    source = WORK / "_compiled.pyx"
    source.write_text(generate())
    # gcc cannot see that a number is always read, or an error raised: -w.
    extension = Extension(MODULE, [str(source)], extra_compile_args=["-O2", "-w"])
    directives = {"boundscheck": False, "wraparound": False}
    modules = cythonize(  # type: ignore[no-untyped-call]  # Cython types itself only in part
        [extension], compiler_directives=directives, quiet=True
    )
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = str(WORK)
    command.ensure_finalized()
    command.run()
    built = Path(command.get_ext_fullpath(MODULE))
    built.replace(registry.CODEC / built.name)  # in one step: a worker may have the old one mapped


def main() -> None:
    """Builds, where there is need and a compiler."""
    if ENGINE == "compiled":
        return
    try:
        from setuptools.errors import CompileError
    except ImportError as error:
        _say_why_not(error)
        return
    try:
        build()
    except (ImportError, CompileError) as error:
        _say_why_not(error)


def _say_why_not(error: Exception) -> None:
    sys.stderr.write(f"The compiled codec cannot be built, fastavro serves: {error}\n")


if __name__ == "__main__":
    main()
