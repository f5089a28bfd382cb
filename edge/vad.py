"""Voice activity: Silero VAD v6 through onnxruntime, without torch.

Source: https://github.com/snakers4/silero-vad, package silero-vad 6.2.3, MIT. Its "sequence" model is used for everything: one
chunk at a time it costs less than the streaming model, many at once less still, and both give the same probabilities.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.backends.onnx import OnnxModel
from edge.errors import BackendError
from edge.types import Samples, TensorModel

CHUNK = 512
CONTEXT = 64
"""Each chunk of 512 new samples is seen behind the 64 before it; without them the model never fires."""

MODEL = Path(__file__).parent / "data" / "silero" / "silero_vad_16k_sequence.onnx"


class Silero:
    """Probability of speech for each chunk of 32 ms of one stream; one thread.

    model: what runs it; by default the file that the wheel carries. Raises: BackendError when that file is missing.
    """

    def __init__(self, model: TensorModel | None = None) -> None:
        if model is None:
            if not MODEL.is_file():
                raise BackendError(
                    f"{MODEL.name}: Silero's file is not in this installation; build the wheel with the network on, "
                    f"or copy it from the package silero-vad 6.2.3 into {MODEL.parent}."
                )
            model = OnnxModel(MODEL)
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Forgets what was heard: the next chunk is the first of a stream."""
        self._h = np.zeros((1, 1, 128), dtype=np.float32)
        self._c = np.zeros((1, 1, 128), dtype=np.float32)
        self._context = np.zeros(CONTEXT, dtype=np.float32)

    def probability(self, chunk: Samples) -> float:
        """Probability of speech in the next 32 ms. chunk: float32[512]."""
        return float(self.probabilities(chunk)[0])

    def probabilities(self, chunks: Samples) -> Samples:
        """The same for n chunks that follow each other, in one run. chunks: float32[512 n], n >= 1. Returns: float32[n]."""
        if chunks.ndim != 1 or len(chunks) == 0 or len(chunks) % CHUNK:
            raise ValueError(f"voice activity takes float32[512 n], not an array of shape {chunks.shape}")
        new = chunks.reshape(-1, CHUNK)
        rows = np.empty((len(new), CONTEXT + CHUNK), dtype=np.float32)
        rows[:, CONTEXT:] = new
        rows[0, :CONTEXT] = self._context
        rows[1:, :CONTEXT] = new[:-1, -CONTEXT:]
        self._context = new[-1, -CONTEXT:].copy()
        out = self._model.run({"input": rows, "h": self._h, "c": self._c})
        self._h, self._c = out["hn"], out["cn"]
        probabilities: Samples = out["speech_probs"]
        return probabilities
