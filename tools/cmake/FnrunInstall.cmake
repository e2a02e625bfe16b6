# (written by the installation work)
