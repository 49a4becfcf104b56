"""Losses on pixels: functions of plain tensors that stand on their own."""
