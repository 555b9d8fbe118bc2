"""Only as far as the ONNX files.

\b
Takes the options of `edgekd compress`, writes into the same run folder, and takes over what is finished there:
  edgekd export model.pt2 --target raspberry-pi --data images/
"""

from edgekd.cli.run import stage_command

command = stage_command("export")
command.__doc__ = __doc__
