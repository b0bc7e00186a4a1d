"""Does a hostile program get out of the sandbox, stay in it for ever, or pass without passing?"""
