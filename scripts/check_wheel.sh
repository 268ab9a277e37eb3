#!/usr/bin/env bash
# Build the wheel, install it in a new environment outside the checkout, and use the
# command as a newcomer would: from pictures (RGB JPEG, gray PNG, 16-bit TIFF,
# WebDataset shards) to an encoder, features, neighbors and a segmentation.
#   bash scripts/check_wheel.sh           in a temporary folder
#   bash scripts/check_wheel.sh FOLDER    keeps everything in FOLDER; an environment
#                                         that is there is used again
#   KERAS_BACKEND  torch (default), jax or tensorflow
#   PYTHON         the interpreter of the environment, python3 by default
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
export KERAS_BACKEND=${KERAS_BACKEND:-torch} OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# Tables as wide as in a terminal, whose rows `printed` finds.
export COLUMNS=160
unset PYTHONPATH
if [ $# -gt 0 ]; then
    mkdir -p "$1"
    work=$(cd "$1" && pwd)
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
case $work/ in
    "$checkout"/*)
        echo "error: the folder must lie outside the checkout. Received: $work" >&2
        exit 1
        ;;
esac
rm -rf "$work"/{source,wheel,pictures,runs,logs}
mkdir -p "$work"/{source,wheel,logs}
table=()

# step NAME COMMAND...: runs the command, keeps its output, and shows it if it fails.
step() {
    local name=$1 start=$SECONDS
    shift
    printf '%-40s ' "$name"
    if ! "$@" >"$work/logs/$name" 2>&1 </dev/null; then
        echo "FAILED: $*"
        cat "$work/logs/$name"
        exit 1
    fi
    echo "$((SECONDS - start)) s"
    table+=("$(printf '%-40s %4d s' "$name" $((SECONDS - start)))")
}

# printed NAME PATTERN: the output of a step has a line of this form.
printed() {
    if ! grep -Eq "$2" "$work/logs/$1"; then
        echo "error: the output of '$1' has no line like '$2':"
        cat "$work/logs/$1"
        exit 1
    fi
}

# What is tracked, as it lies here; nothing of an earlier build.
git ls-files -z | tar --create --null --files-from - | tar --extract -C "$work/source"
[ -x "$work/environment/bin/python" ] || "${PYTHON:-python3}" -m venv "$work/environment"
python=$work/environment/bin/python
pip=("$python" -m pip --quiet --disable-pip-version-check)
step "build the wheel" "${pip[@]}" wheel --no-deps --wheel-dir "$work/wheel" "$work/source"
wheel=$(echo "$work"/wheel/*.whl)
constrained=("${pip[@]}" install --constraint constraints.txt)
if [ "$KERAS_BACKEND" = torch ]; then
    # First, at its pinned version, so that nothing installs another one.
    step "install PyTorch" "${constrained[@]}" "$(grep '^torch==' constraints.txt)"
fi
step "install the wheel" "${constrained[@]}" --force-reinstall --no-deps "$wheel"
step "install its extras" "${constrained[@]}" \
    "${wheel}[cli,sources,evaluation,$KERAS_BACKEND,onnx-$KERAS_BACKEND]"

cp scripts/check_wheel_pictures.py "$work/pictures.py"
cd "$work"
clmae=$work/environment/bin/keras-clmae
step "make pictures" "$python" pictures.py make pictures
step "list recipes" "$clmae" recipes
step "encoder of the package" "$python" pictures.py encoder \
    vit_micro_patch4_32_cifar10_clmae
step "dry run" "$clmae" pretrain pictures/rgb_jpeg --run_dir runs/auto --dry_run
printed "dry run" "operations counted"
[ ! -e runs ] || { echo "error: the dry run wrote runs/"; exit 1; }
# What the command chooses by itself; the model is larger than those below.
step "pretrain rgb_jpeg, all chosen" "$clmae" pretrain pictures/rgb_jpeg \
    --run_dir runs/auto --epochs 2
printed "pretrain rgb_jpeg, all chosen" "chosen: --preset"

# use SOURCE QUERY NAME OPTION...: from pictures to an encoder, features and the
# neighbors of a picture, of which the picture itself, called NAME, is the first.
use() {
    local source=$1 query=$2 name=$3 place=pictures/$1
    shift 3
    [ "$source" != shards ] || place='webdataset:pictures/shards/{000..002}.tar'
    step "pretrain $source" "$clmae" pretrain "$place" --run_dir "runs/$source" \
        --epochs 8 --model.hidden_dim 64 --model.num_layers 2 --model.num_heads 4 \
        --model.decoder_hidden_dim 32 --model.decoder_num_layers 1 \
        --model.decoder_num_heads 4 "$@"
    step "encoder of $source" "$python" pictures.py encoder "runs/$source/encoder"
    step "embed $source" "$clmae" embed "runs/$source/encoder" "$place" \
        --output "runs/$source.npz"
    step "features of $source" "$python" pictures.py features pictures "$source" \
        "runs/$source.npz"
    step "search $source" "$clmae" search "runs/$source/encoder" "$place" "$query" \
        --output "runs/$source.png"
    printed "search $source" "^ *1\.000 .*$name"
    [ -s "runs/$source.png" ] || { echo "error: no figure of $source"; exit 1; }
}
use rgb_jpeg pictures/rgb_jpeg/train/rows/10.jpg rows/10.jpg
use gray_png pictures/gray_png/05_rows.png 05_rows.png
use tiff_16 pictures/tiff_16/rows/05.tif rows/05.tif
use shards pictures/query.jpg 05_rows

step "segmentation" "$clmae" finetune runs/gray_png pictures/gray_png \
    --task segmentation --masks pictures/masks --batch_size 8 \
    --base_learning_rate 0.05 --epochs 15
# The ground alone would give 14 %.
printed "segmentation" "mean IoU, pretrained: ([3-9][0-9]|100)\."

# The lines that the run prints at its end, as they are but for the epochs.
grep -E '^  (keras-clmae|python) ' "logs/pretrain rgb_jpeg" >next.txt
[ -s next.txt ] || { echo "error: nothing to type next was printed"; exit 1; }
PATH=$work/environment/bin:$PATH
while read -r line; do
    case $line in *" finetune "*) line="$line --epochs 3" ;; esac
    short=$(echo "${line#keras-clmae }" | cut -d ' ' -f 1,2 | tr / _)
    step "next: $short" bash -c "$line"
done <next.txt

echo
echo "Summary: $(basename "$wheel") on $KERAS_BACKEND, $SECONDS seconds in all"
printf '  %s\n' "${table[@]}"
for name in logs/features* logs/segmentation; do
    sed "s|^|$(basename "$name"): |" "$name" | grep -E 'kind|IoU'
done
