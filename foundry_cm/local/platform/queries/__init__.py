"""The queries of the platform: by them an application calls the functions of the module."""
