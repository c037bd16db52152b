"""Flower app that trains Chronotope's model; Chronotope itself runs in processes of its own."""
