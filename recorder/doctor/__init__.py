"""`birdrec doctor`: is this machine ready to listen for a month?"""
