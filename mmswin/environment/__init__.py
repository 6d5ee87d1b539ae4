"""Setting up an environment for mmswin and examining one. Standard library only: it runs before anything is installed.

``stacks``     facts: which distributions and versions make up a stack
``hardware``   what this machine has: cores, memory, compiler, GPUs, nvcc
``shell``      commands run into a log, with one line of progress
``plan``       what to set up, where, and whether it is there already
``provision``  the steps of ``make setup``, which uv does
``probe``      runs inside an environment and reports what can be imported
``doctor``     judges that report, and says what to do
``importable`` makes mmpretrain, which lies apart, importable for a process that needs it
"""
