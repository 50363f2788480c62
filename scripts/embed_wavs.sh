#!/usr/bin/env bash
# Embeds every WAV of a folder with the embedder service: one curl a WAV, one JSON file beside it.
# usage: embed_wavs.sh FOLDER [EMBEDDER_URL]
set -uo pipefail
folder=${1:?usage: embed_wavs.sh FOLDER [EMBEDDER_URL]}
url=${2:-${SOUNDALIKE_EMBEDDER_URL:-http://localhost:8001}}

shopt -s nullglob nocaseglob
wavs=("$folder"/*.wav)
if [ ${#wavs[@]} -eq 0 ]; then
    echo "There is no WAV in '$folder'." >&2
    exit 2
fi
failed=0
for wav in "${wavs[@]}"; do
    json=${wav%.*}.json
    if curl --silent --show-error --fail-with-body --output "$json.part" \
        --form "file=@\"$wav\"" "$url/embed"; then
        mv "$json.part" "$json"
        echo "$json"
    else
        failed=$((failed + 1))
        echo "$wav failed: $(cat "$json.part" 2>/dev/null)" >&2
        rm -f "$json.part"
    fi
done
exit $((failed > 0))
