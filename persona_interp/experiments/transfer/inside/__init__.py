"""Which features and directions carry the personas inside of the models, and what goes with them?"""
