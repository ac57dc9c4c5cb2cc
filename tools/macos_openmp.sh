#!/usr/bin/env bash
# Builds LLVM's OpenMP runtime for this processor and the oldest macOS that the wheels are for.
#
#   MACOSX_DEPLOYMENT_TARGET=12.0 bash tools/macos_openmp.sh FOLDER
#
# Homebrew's is built for the macOS that it is installed on, so wheels that bring that one need the same.
set -euo pipefail
target=${MACOSX_DEPLOYMENT_TARGET:?}
folder=$1
version=llvmorg-19.1.7
commit=cd708029e0b2869e80abe31ddb175f7c35361f90
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

git clone -q --depth 1 --branch "$version" --filter=blob:none --sparse https://github.com/llvm/llvm-project "$work/llvm"
cd "$work/llvm"
test "$(git rev-parse HEAD)" = "$commit"
git sparse-checkout set cmake openmp
cmake -S openmp -B "$work/build" \
    -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INSTALL_PREFIX="$folder" \
    -DCMAKE_INSTALL_NAME_DIR="$folder/lib" \
    -DCMAKE_OSX_ARCHITECTURES="$(uname -m)" \
    -DCMAKE_OSX_DEPLOYMENT_TARGET="$target" \
    -DLIBOMP_INSTALL_ALIASES=OFF \
    -DLIBOMP_OMPT_SUPPORT=OFF \
    -DOPENMP_ENABLE_LIBOMPTARGET=OFF \
    -DOPENMP_ENABLE_OMPT_TOOLS=OFF
cmake --build "$work/build" --parallel
cmake --install "$work/build"
# The oldest system that the library says it runs on.
otool -l "$folder/lib/libomp.dylib" | grep -A4 LC_BUILD_VERSION | grep -q "minos ${target}"
