#!/usr/bin/env bash
# usage: setup_aarch64.sh FOLDER makes FOLDER/python RUNTIME ARGUMENT..., an aarch64 Python 3.11 under qemu's user mode
# with the device's packages; RUNTIME is tflite-runtime or ai-edge-litert. Nothing is installed on this machine and no
# root is needed: the packages are unpacked below FOLDER (280 MB). Needs Debian 12, or another apt whose python3 is 3.11,
# and PyPI. DCCL_PYTHON names the Python whose pip is used.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
root=$folder/root
wanted=$(sha256sum < "${BASH_SOURCE[0]}")
[ "$(cat "$folder/installed" 2>/dev/null)" != "$wanted" ] || exit 0
rm -rf "$folder"
mkdir -p "$root/proc"

# Unpacks packages of one architecture, with what they depend on, by an apt whose state is all below FOLDER.
unpack() {
  local architecture=$1 destination=$2 apt=$folder/apt-$1
  shift 2
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$destination"
  : > "$apt/status"
  local options=(-qq -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o "Dir::State=$apt"
    -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
    -o "APT::Sandbox::User=$(id -un)" -o APT::Install-Recommends=false)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" -y --download-only install "$@" > /dev/null
  local package
  for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$destination"; done
  rm -rf "$apt"
}
unpack "$(dpkg --print-architecture)" "$folder/qemu" qemu-user-static
mv "$folder/qemu/usr/bin/qemu-aarch64-static" "$folder/emulator"
rm -r "$folder/qemu"
unpack arm64 "$root" python3 libstdc++6 zlib1g libgcc-s1
if [ ! -x "$root/usr/bin/python3.11" ]; then
  echo "error: Python 3.11 for arm64 is needed, for which tflite-runtime has wheels, and this apt has another one" >&2
  exit 1
fi

# qemu 7 shows its host's /proc/cpuinfo, in which LiteRT 2.3 looks in vain for an ARM core and then crashes. A file
# below qemu's root stands over the real one: two Cortex-A72.
for core in 0 1; do
  cat << CPUINFO
processor	: $core
Features	: fp asimd evtstrm crc32 cpuid
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x0
CPU part	: 0xd08
CPU revision	: 3

CPUINFO
done > "$root/proc/cpuinfo"

wheels=(--only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none --platform any)
for glibc in 2_17 2_27 2_28 2_31 2_34 2_35 2_36; do wheels+=(--platform "manylinux_${glibc}_aarch64"); done
wheels+=(--platform manylinux2014_aarch64)
install() {
  "${DCCL_PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore "${wheels[@]}" \
    --target "$root/opt/$1" "${@:2}"
}
install tflite-runtime tflite-runtime==2.14.0 'numpy>=1.26,<2' 'protobuf>=6.31,<8'
install ai-edge-litert 'ai-edge-litert>=2.0,<3' 'protobuf>=6.31,<8'

cat > "$folder/python" << RUN
#!/usr/bin/env bash
runtime=\$1
shift
exec env PYTHONDONTWRITEBYTECODE=1 PYTHONHOME=$root/usr PYTHONPATH=$here:$root/opt/\$runtime \\
  $folder/emulator -cpu cortex-a72 -L $root $root/usr/bin/python3.11 "\$@"
RUN
chmod +x "$folder/python"
"$folder/python" tflite-runtime -c 'import platform; assert platform.machine() == "aarch64"'
echo "$wanted" > "$folder/installed"
