"""Model registry: runs, model versions, promotion gate and the champion."""
