"""Watching the results of `apply`: do the texts still look like those the pipeline was measured on?"""
