"""What items are: encoders of texts, images, sounds and attributes, and the vectors of the items.

Modules, not re-exported, since some take a second to import:
    encoder: Protocol of all encoders, and their identity.
    encoders.open_encoder: Pretrained encoder by its name.
    encoders.tfidf_encoder: Text encoder fitted on the catalogue, without pretrained weights.
    embed_items: Encode new and changed items into the lake.
    item_vectors: Vectors of items from the lake.
"""
