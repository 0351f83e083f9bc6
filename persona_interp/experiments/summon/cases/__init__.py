"""What did each kind of cases of `summon` find: starts, worlds with a villain, planted lessons?"""
