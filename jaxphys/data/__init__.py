"""Readers, generators and labels of molecules."""

from jaxphys.data.geometries import embed as embed
from jaxphys.data.geometries import thermal as thermal
from jaxphys.data.labels import Method as Method
from jaxphys.data.labels import build_systems as build_systems
from jaxphys.data.labels import label as label
from jaxphys.data.xyz import read_xyz as read_xyz
from jaxphys.data.xyz import write_xyz as write_xyz
