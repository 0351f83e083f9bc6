"""Which features and directions carry the personas inside the models, and what goes with them?"""
