"""Does a runner keep anything of the trials that it ran?"""
