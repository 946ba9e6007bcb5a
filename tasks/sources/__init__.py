"""Where models that were trained elsewhere come from: folders, the hub, single files, ordinary packages."""
