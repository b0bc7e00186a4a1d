"""Does a trial in a pack train as it would alone with PEFT?"""
