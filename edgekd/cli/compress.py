"""Turn a trained model into a file that fits the device, with the proof beside it.

\b
Examples:
  edgekd compress model.pt2 --target raspberry-pi --data images/
  edgekd compress model.pt2 --target raspberry-pi-4 --data images/ --time 30m
  edgekd compress weights.pt --arch timm:resnet18 --data images.npz
  edgekd compress weights.pt --arch net.py:build --student timm:mobilenetv3_small_050
  edgekd compress model.onnx --student none --data images/ --budget drop=1%
  edgekd compress model.pt2 --target raspberry-pi-5 --data images/ --emulate
"""

from edgekd.cli.run import stage_command

command = stage_command("compress")
command.__doc__ = __doc__
