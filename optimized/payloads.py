"""Cache entries and latents as payload bytes and back.

Source: design §9; byte layout in `optimized.slice_payload` (WS-EXCHANGE-4).
"""

from __future__ import annotations

import torch

from optimized.slice_payload import pack_latents, pack_slice, unpack_latents, unpack_slice
from reference.kv_cache import KVEntries
from reference.token_table import COLUMNS, TokenTable
from reference.units import Latents
from spec import clock
from spec.exchange_message import Header
from spec.exchange_terms import ROW_COLUMNS
from spec.layout import CLEAN_STEP
from spec.session import SessionConfig

DTYPES = {"float32": torch.float32, "float64": torch.float64}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def pack_entries(entries: KVEntries) -> bytes:
    """Payload of a slice that holds ``entries`` (WS-EXCHANGE-4)."""
    rows = entries.table.cells[:, : len(ROW_COLUMNS)]
    return pack_slice(rows.numpy(), entries.k.numpy(), entries.v.numpy(), NAMES[entries.k.dtype])


def unpack_entries(payload: bytes, header: Header, head_dim: int) -> KVEntries:
    """The cache entries of a whole slice; all of them are clean (WS-EXCHANGE-4)."""
    rows, k, v = unpack_slice(payload, header, head_dim)
    clean = torch.zeros(len(rows), len(COLUMNS) - len(ROW_COLUMNS), dtype=torch.int64)
    clean[:, COLUMNS.index("step") - len(ROW_COLUMNS)] = CLEAN_STEP
    cells = torch.cat((torch.from_numpy(rows.copy()), clean), dim=1)
    table = TokenTable(cells, torch.zeros(len(rows), dtype=torch.float64))
    return KVEntries(table, torch.from_numpy(k.copy()), torch.from_numpy(v.copy()))


def pack_unit(z: Latents, dtype: torch.dtype) -> bytes:
    """Payload of latents, or of the noise of a unit, in the dtype of the session."""
    return pack_latents(
        None if z.audio is None else z.audio.to(dtype).numpy(),
        None if z.video is None else z.video.to(dtype).numpy(),
        NAMES[dtype],
    )


def unpack_unit(payload: bytes, config: SessionConfig, dtype: torch.dtype) -> Latents:
    """The latents, or the noise, of a unit of this session."""
    preset, has = config.preset, config.modalities
    audio = (clock.TICKS_PER_UNIT, preset.audio_codec.latent_channels)
    video = (preset.video_codec.latent_channels, preset.latent_height, preset.latent_width)
    arrays = unpack_latents(
        payload,
        audio if has.agent_audio else None,
        video if has.agent_video else None,
        NAMES[dtype],
    )
    tensors = [None if a is None else torch.from_numpy(a.copy()) for a in arrays]
    return Latents(audio=tensors[0], video=tensors[1])
