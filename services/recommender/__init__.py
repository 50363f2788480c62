"""The recommender service: a vector, an item or a sound in, its neighbours out."""
