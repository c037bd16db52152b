"""Measurements that anybody can repeat, one command each."""
