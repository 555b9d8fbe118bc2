"""Only as far as the trained student.

\b
Takes the options of `edgekd compress`, writes into the same run folder, and takes over what is finished there:
  edgekd distill model.pt2 --target raspberry-pi --data images/
"""

from edgekd.cli.run import stage_command

command = stage_command("distill")
command.__doc__ = __doc__
